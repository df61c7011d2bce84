"""The import contract's one kind of rule: a room, the doors that it may open, and the third parties it may ask in.

A list of what is allowed rather than of what is forbidden, so that a new module or package is refused until
somebody has written it down. Only direct imports count: what lies behind a door is the next room's affair.
"""

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

OURS = "duologue"


class RoomContract(Contract):
    """`room` imports only itself, the standard library, `doors` (with what is below them) and `third_parties`."""

    type_name = "room"

    room = fields.StringField()
    doors = fields.ListField(subfield=fields.StringField())
    third_parties = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        if self.room not in graph.modules:
            raise ValueError(f"the import contract names a room that is not there: {self.room}")
        modules = {self.room, *graph.find_descendants(self.room)}
        broken = sorted(
            (importer, imported)
            for importer in modules
            for imported in graph.find_modules_directly_imported_by(importer)
            if not self._may_import(imported)
        )
        lines = [(pair, _lines(graph, *pair)) for pair in broken]
        return ContractCheck(kept=not broken, metadata={"broken": lines})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for (importer, imported), lines in check.metadata["broken"]:
            output.print_error(
                f"{importer} must not import {imported} (line {', '.join(map(str, lines))})", bold=False
            )

    def _may_import(self, imported: str) -> bool:
        top = imported.partition(".")[0]
        if top != OURS:
            return top in sys.stdlib_module_names or top in self.third_parties
        return any(imported == door or imported.startswith(f"{door}.") for door in (self.room, *self.doors))


def _lines(graph: ImportGraph, importer: str, imported: str) -> list[int]:
    details = graph.get_import_details(importer=importer, imported=imported)
    return sorted(detail["line_number"] for detail in details)
