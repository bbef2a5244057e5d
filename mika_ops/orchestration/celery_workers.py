"""What a Celery worker loads: ``celery --app mika_ops.orchestration.celery_workers worker``."""

from mika_ops.orchestration.executors import celery_app
from mika_ops.settings import load_settings

app = celery_app(load_settings())
