"""The pages: each module has ``ROUTES``, and takes part in :data:`relay.app.server.PAGES`."""
