"""Subscriptions that resume: no gap and no repeat across lost connections and restarts."""

from engagement.follow.follower import EventBatch, Follower, OnErasure
from engagement.follow.stream import Subscribe, SubscribeCall

__all__ = ["EventBatch", "Follower", "OnErasure", "Subscribe", "SubscribeCall"]
