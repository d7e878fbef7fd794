"""What the screen is made of: one noun a file. No file here queries the store or computes a metric."""
