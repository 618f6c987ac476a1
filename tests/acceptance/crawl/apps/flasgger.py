"""flasgger: a specification made from the application's own rules, and Swagger's pages."""

REQUIREMENTS = ("flasgger", "setuptools<81")
PATHS = ("/apispec_1.json", "/apidocs/", "/flasgger_static/swagger-ui.css")


def make_app():
    from flasgger import Swagger
    from flask import Flask, jsonify

    app = Flask("colours")
    Swagger(app)

    @app.route("/colors/<palette>/")
    def colors(palette):
        """Colours of a palette.
        ---
        parameters:
          - {name: palette, in: path, type: string, required: true}
        responses:
          200: {description: a list}
        """
        return jsonify({palette: ["red", "green"]})

    @app.route("/methods")
    def methods():
        return jsonify(
            [sorted(rule.methods) for rule in app.url_map.iter_rules() if rule.endpoint == "methods"]
        )

    return app
