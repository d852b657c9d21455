"""Queues at brokers: one contract for Gearman, RabbitMQ, Redis and the embedded one. Start at `broker`."""
