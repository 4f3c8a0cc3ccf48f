// The key that the reader typed. It lives in this module, which is the memory of one
// tab: it stands in no address and in no storage, and a reload forgets it.
let key = '';

export const access = {
  denied: null, // what the server said of the last call that it refused; null: nothing
  listeners: new Set(),

  // headers are those of a call.
  headers: accept => key ? {Accept: accept, Authorization: 'Bearer ' + key} : {Accept: accept},

  hasKey: () => key !== '',

  // use takes a key, or forgets it; '' is none.
  use(text) {
    key = text;
    this.denied = null;
    for (const f of this.listeners) f();
  },

  // refused remembers that the server does not know who calls.
  refused(detail) {
    if (this.denied === detail) return;
    this.denied = detail;
    for (const f of this.listeners) f();
  },
};

// isKey reports whether a text can be a key: one word of ASCII, as headers carry it.
export const isKey = text => /^[\x21-\x7e]+$/.test(text);
