"""What several tests need to drive the real server: its process, a repository, an open-loop client."""
