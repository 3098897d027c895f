"""Clients for the engagement attributes service."""
