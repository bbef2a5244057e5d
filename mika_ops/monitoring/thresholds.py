"""The thresholds of the checks."""

from pydantic import BaseModel, Field


class Thresholds(BaseModel):
    """The value beyond which each check fails. Each is a setting."""

    check_due_email_minutes: float = Field(
        10.0, gt=0, le=525_600, description="How long an email may be due before `oldest_due_email` fails."
    )
    check_failed_emails: int = Field(
        0, ge=0, description="How many emails may have failed permanently before `failed_emails` fails."
    )
    check_account_delete_hours: float = Field(
        24.0,
        gt=0,
        le=8_760,
        description="How old a failed or waiting account delete may be before `overdue_account_deletes` fails.",
    )
    check_unchecked_account_deletes: int = Field(
        0,
        ge=0,
        description="How many account deletes may lack the further steps before `unchecked_account_deletes` fails.",
    )
    check_stuck_workflows: int = Field(
        0,
        ge=0,
        description="How many workflows may be stuck or failed permanently before `workflows_left_stuck` fails.",
    )
    check_raw_payload_hours: float = Field(
        24.0,
        gt=0,
        le=87_600,
        description="How overdue the purge of a raw payload may be before `overdue_raw_payloads` fails.",
    )
    check_reservation_minutes: float = Field(
        10.0,
        gt=0,
        le=525_600,
        description="How long an expired reservation may still be held before `overdue_reservations` fails.",
    )
    check_drifting_items: int = Field(
        0,
        ge=0,
        description="How many stock items may have drifted before `reserved_stock` fails.",
    )
    check_malformed_documents: int = Field(
        0, ge=0, description="How many documents may be malformed before `malformed_documents` fails."
    )
