"""What is printed rather than drawn: reports, progress without a screen, and the last words. No Textual here."""
