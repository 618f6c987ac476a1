def subject(report, source):
    return f"{source} {report.analysis_date}"


def mail_text(report, trend):
    return "text"


def mail_html(report, trend):
    return "<p>html</p>"
