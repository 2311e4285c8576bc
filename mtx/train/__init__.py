"""Training: the loss, the optimizer, one update, validation, and the loop around them."""
