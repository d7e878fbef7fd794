ALTER TABLE person_labels ADD COLUMN drawn VARCHAR;  -- how it came to be labelled: random queue chosen; null is chosen
