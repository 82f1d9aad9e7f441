"""What is done to planes before a network sees them, and what is worth knowing of them."""
