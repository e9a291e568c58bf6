"""Networks with one part or size changed each, trained over seeds and put into one table."""
