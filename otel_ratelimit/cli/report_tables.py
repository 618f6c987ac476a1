def print_report(report, trend):
    print("table")
