"""Callbacks for the loops that people train in. Each needs its library, an optional extra of the distribution."""
