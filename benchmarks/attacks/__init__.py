"""What attacks cost those who have nothing to do with them."""
