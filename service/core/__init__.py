"""What every other part of the service speaks: errors, requests, deadlines, time. Standard library and numpy only."""
