"""The app that a Celery worker loads: ``celery --app mika_ops.orchestration.celery_workers worker``."""

from mika_ops.config.loading import load_settings
from mika_ops.orchestration.execution.executors import celery_app
from mika_ops.shop import Shop

app = celery_app(Shop(load_settings()))
