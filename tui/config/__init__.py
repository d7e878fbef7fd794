"""What a person set: the file, the settings in force and where each comes from, and who reviews."""
