"""Connexion: a Flask made from a specification, behind an ASGI application; the Flask alone is visited."""

REQUIREMENTS = ("connexion[flask]", "flask[async]")
REQUESTS = tuple(("GET", f"/plain/{number}", {}) for number in range(8))


def make_app():
    import connexion

    made = connexion.FlaskApp("specified")
    app = made.app

    @app.get("/plain/<int:number>")
    def plain(number):
        return {"number": number}

    @app.get("/sync")
    def sync():
        return "sync"

    @app.get("/async")
    async def asynchronous():
        return "async"

    return app
