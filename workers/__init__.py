"""The hands: Celery, Redis, the log. They drain a shard into the heart and commit."""
