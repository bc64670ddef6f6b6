"""Networks in 8-bit integers: made on this box, of its own pictures, and taken only with proof."""
