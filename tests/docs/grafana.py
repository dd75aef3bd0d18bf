"""What a dashboard file of ours may use of Grafana's model (schemaVersion 39, Grafana 10 and 11).

It is strict: a key that is not here is a typing mistake, or has to be added after a look at what Grafana makes of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Of Grafana's many units, those that fit what is measured here.
Unit = Literal["short", "s", "bytes", "Bps", "ops", "bool_yes_no", "percentunit"]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Source(Strict):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]


class Place(Strict):
    x: Annotated[int, Field(ge=0, le=23)]
    y: Annotated[int, Field(ge=0)]
    w: Annotated[int, Field(ge=1, le=24)]
    h: Annotated[int, Field(ge=1)]


class Target(Strict):
    datasource: Source
    expr: Text
    legendFormat: str  # noqa: N815 - Grafana's name for it
    refId: Annotated[str, Field(pattern=r"^[A-Z]$")]  # noqa: N815


class Step(Strict):
    color: Text
    value: float | None


class Thresholds(Strict):
    mode: Literal["absolute", "percentage"]
    steps: Annotated[list[Step], Field(min_length=1)]

    @model_validator(mode="after")
    def ascend_from_the_base(self) -> Self:
        first, *rest = (step.value for step in self.steps)
        assert first is None, "the first step is the base, without a value"
        assert rest == sorted(rest), "steps ascend"
        return self


class Defaults(Strict):
    unit: Unit
    thresholds: Thresholds | None = None
    min: float | None = None
    custom: dict[str, Any] | None = None
    color: dict[str, Any] | None = None
    mappings: list[Any] | None = None
    decimals: int | None = None


class FieldConfig(Strict):
    defaults: Defaults
    overrides: list[Any]


class Reduce(Strict):
    calcs: list[Literal["lastNotNull", "last", "max", "mean", "sum"]]
    fields: str
    values: bool


class StatOptions(Strict):
    colorMode: Literal["none", "value", "background", "background_solid"]  # noqa: N815
    graphMode: Literal["none", "area"]  # noqa: N815
    reduceOptions: Reduce  # noqa: N815


class Legend(Strict):
    displayMode: Literal["list", "table", "hidden"]  # noqa: N815
    placement: Literal["bottom", "right"]
    calcs: list[str] = []
    showLegend: bool = True  # noqa: N815


class Tooltip(Strict):
    mode: Literal["single", "multi", "none"]
    sort: Literal["none", "asc", "desc"] = "none"


class SeriesOptions(Strict):
    legend: Legend
    tooltip: Tooltip


class Panel(Strict):
    id: Annotated[int, Field(ge=1)]
    title: Text
    description: str
    datasource: Source
    gridPos: Place  # noqa: N815
    fieldConfig: FieldConfig  # noqa: N815
    targets: Annotated[list[Target], Field(min_length=1)]

    @model_validator(mode="after")
    def refers_to_each_target_by_its_own_letter(self) -> Self:
        letters = [target.refId for target in self.targets]
        assert len(set(letters)) == len(letters), f"{self.title}: {letters}"
        return self


class Stat(Panel):
    type: Literal["stat"]
    options: StatOptions


class TimeSeries(Panel):
    type: Literal["timeseries"]
    options: SeriesOptions


class Row(Strict):
    type: Literal["row"]
    id: Annotated[int, Field(ge=1)]
    title: Text
    collapsed: bool
    gridPos: Place  # noqa: N815
    panels: list[Any]


class Times(Strict):
    from_: str = Field(alias="from", pattern=r"^now-\d+[mhdw]$")
    to: Literal["now"]


class Variable(BaseModel):
    """Of two kinds, "datasource" and "query", with keys of their own."""

    name: Text
    label: Text
    type: Literal["datasource", "query"]
    query: Any


class Templating(Strict):
    list: list[Variable]


class Annotations(Strict):
    list: list[Any]


class Dashboard(Strict):
    title: Text
    uid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    tags: list[str]
    schemaVersion: Annotated[int, Field(ge=36)]  # noqa: N815 - of Grafana 9.0
    version: int
    editable: bool
    graphTooltip: Literal[0, 1, 2]  # noqa: N815
    refresh: Annotated[str, Field(pattern=r"^\d+[smh]$")]
    time: Times
    timezone: Literal["browser", "utc", ""]
    annotations: Annotations
    links: list[Any]
    templating: Templating
    panels: list[Annotated[Stat | TimeSeries | Row, Field(discriminator="type")]]
