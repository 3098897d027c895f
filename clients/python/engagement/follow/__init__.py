"""Subscriptions that resume: every event exactly once, through lost connections and restarts."""

from engagement.follow.follower import EventBatch, Follower, OnErasure, OnReconnect
from engagement.follow.stream import Subscribe, SubscribeCall

__all__ = ["EventBatch", "Follower", "OnErasure", "OnReconnect", "Subscribe", "SubscribeCall"]
