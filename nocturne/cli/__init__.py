"""The `nocturne` command and the entry point of every job."""
