"""What is unsafe here, in sentences."""
