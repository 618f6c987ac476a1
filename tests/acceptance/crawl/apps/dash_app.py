"""Dash: an application around a Flask of its own making, with a rule for every path."""

REQUIREMENTS = ("dash",)
PATHS = ("/_dash-layout", "/_dash-dependencies", "/some/page")
REQUESTS = (
    (
        "POST",
        "/_dash-update-component",
        {
            "json": {
                "output": "out.children",
                "outputs": {"id": "out", "property": "children"},
                "inputs": [{"id": "in", "property": "value", "value": "hello"}],
                "changedPropIds": ["in.value"],
            }
        },
    ),
    ("POST", "/_dash-update-component", {"json": {}}),
    ("POST", "/_dash-update-component", {"data": b"{"}),
)


def make_app():
    from dash import Dash, Input, Output, dcc, html

    dash = Dash("figures")
    dash.layout = html.Div([dcc.Input(id="in"), html.Div(id="out")])

    @dash.callback(Output("out", "children"), Input("in", "value"))
    def say(text):
        return f"{text}!"

    return dash.server
