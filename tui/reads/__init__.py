"""What the screens and the reports read from the store, as plain values."""
