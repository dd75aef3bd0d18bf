"""What stands behind the site: ALBUM_STACK names the module of this folder that says so."""
