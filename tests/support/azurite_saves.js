// Loaded into azurite before it starts. By itself it writes its index every five seconds, and a SIGKILL takes what it
// acknowledged since then. With this it writes the index before it answers a request that may have changed it.
"use strict";

const http = require("http");
const Module = require("module");

const indexes = new Set();
const load = Module._load;

Module._load = function (name, ...rest) {
  const loaded = load.call(this, name, ...rest);
  if (name === "lokijs" && !loaded.prototype.isWatched) {
    const getCollection = loaded.prototype.getCollection;
    loaded.prototype.isWatched = true;
    loaded.prototype.getCollection = function (...args) {
      indexes.add(this);
      return getCollection.apply(this, args);
    };
  }
  return loaded;
};

const end = http.ServerResponse.prototype.end;

http.ServerResponse.prototype.end = function (...args) {
  if (["GET", "HEAD"].includes(this.req.method)) {
    return end.apply(this, args);
  }
  const saved = [...indexes].map((index) => new Promise((resolve) => index.saveDatabase(resolve)));
  Promise.all(saved).then(() => end.apply(this, args));
  return this;
};
