"""Tables that every wing may refer to."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from tsp.core.database import Base


class Organisation(Base):
    """A relying party, bank or legal person; what belongs to one is seen by no other."""

    __tablename__ = "organisation"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(32))
    created: Mapped[datetime]
