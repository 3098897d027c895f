"""Test helpers: real servers, producers, followers and slow but obvious models to compare with."""
