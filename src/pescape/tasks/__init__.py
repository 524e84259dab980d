"""Tasks whose results are kept, and the processes and clusters that run them."""
