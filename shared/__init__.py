"""What two or more processes need; knows none of them."""
