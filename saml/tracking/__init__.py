"""Run records, and their publication to MLflow.

Importing this package is light: every stage writes a record and must not wait for MLflow's import. The
publisher is `saml.tracking.publish`.
"""

from saml.tracking.lines import Point, Record
from saml.tracking.record import RunRecord, read_record

__all__ = ["Point", "Record", "RunRecord", "read_record"]
