def page(report, trend):
    return "<p>html</p>"
