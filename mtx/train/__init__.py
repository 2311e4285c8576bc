"""Training: loss, optimizer, one step, validation, and the loop around them."""
