"""The app that a Celery worker loads: ``celery --app mika_ops.orchestration.celery_workers worker``."""

from mika_ops.config.loading import load_settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.execution.executors import celery_app

app = celery_app(Shop(load_settings()))
