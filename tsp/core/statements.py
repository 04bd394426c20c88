"""Statements for the hot path: compiled once, executed by the driver (decision 0025)."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Connection, CursorResult, Dialect
from sqlalchemy.sql.compiler import SQLCompiler


class Prepared:
    """A statement that is compiled once for each kind of database, for the hot path (decision 0025).

    `columns` are the values that an insert or an update sets. Values are named as in the statement; types
    do what they do elsewhere on the way in, nothing on the way out: what is read must need no conversion.
    """

    def __init__(self, statement: ClauseElement, *columns: str) -> None:
        self._statement = statement
        self._columns = columns or None
        self._compiled: dict[str, _Compiled] = {}

    def execute(self, connection: Connection, *rows: Mapping[str, Any]) -> CursorResult[Any]:
        """Executes it with the values of one row, or of several at once."""
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, dialect, self._columns)
        values = [compiled.arrange(row) for row in rows]
        return connection.exec_driver_sql(compiled.text, values[0] if len(values) == 1 else values)


class _Compiled:
    """SQL for one kind of database, and how its driver wants the values."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, columns: Sequence[str] | None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        assert isinstance(compiled, SQLCompiler)
        self.text = compiled.string
        self._positional = compiled.positional
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        order = compiled.positiontup if compiled.positional else list(binds)
        assert order is not None
        self._places = [
            (
                name,
                binds[name].required,
                binds[name].value,
                binds[name].type.dialect_impl(dialect).bind_processor(dialect),
            )
            for name in order
        ]

    def arrange(self, row: Mapping[str, Any]) -> Any:
        """The values in the driver's order, or by name; `KeyError` where one is missing."""
        values = []
        for name, required, constant, process in self._places:
            value = row[name] if required else constant
            values.append(value if process is None else process(value))
        if self._positional:
            return tuple(values)
        return {name: value for (name, *_), value in zip(self._places, values, strict=True)}
