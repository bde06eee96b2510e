"""Handing versions on: from one home to another, into a bundle, and out of one."""
