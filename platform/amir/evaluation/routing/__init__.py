"""What the routing does: expert use, instructions, interference, and the job that draws them."""
