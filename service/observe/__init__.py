"""What the service says about itself: metric names, counts per version, and logs. Imports only core."""
