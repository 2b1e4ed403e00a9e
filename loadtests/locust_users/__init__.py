"""What the locustfile is made of; importing its users imports Locust, which patches the sockets of the process."""
