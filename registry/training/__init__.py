"""Training state beside the weights: optimizer, scheduler, counters. Keyed by name, and never pickled."""
