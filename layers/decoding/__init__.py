"""The autoregressive decoder, its attention, and search."""
