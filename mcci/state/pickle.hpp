#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace mcci {

// What a pickle describes, as inert data. To pickle, an object is a call of a named function; here it stays a
// description of that call, so nothing is ever called, imported or built.
struct PickleValue {
  enum class Kind {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,  // also an integer beyond 64 bits: its two's complement, little-endian
    tuple,
    list,
    dict,
    set,
    global,     // a name: "torch.FloatStorage"
    object,     // a call: of `text` with `arguments`
    persistent  // what the pickle refers to outside of it: items[0]
  };
  Kind kind = Kind::none;
  std::int64_t integer = 0;  // boolean: 0 or 1
  double real = 0;
  std::string text;                       // text, bytes, global, object
  std::vector<const PickleValue*> items;  // members; of a dict, and of an object that is one: key, value, ...
  const PickleValue* arguments = nullptr;  // object: a tuple
  const PickleValue* state = nullptr;      // object: what it was given once it was built, or null
};

// The values refer to each other, and may do so in circles: whoever descends must count how far.
struct Pickle {
  std::deque<PickleValue> values;
  const PickleValue* root = nullptr;
};

// Reads a pickle of protocol 2 to 5 with the opcodes that Python's pickler emits for data. Time and memory
// are in proportion to `bytes`. `allowed` says which names it may mention ("collections.OrderedDict").
// Errors: data, naming `where`, for whatever else there is in it.
Pickle parse_pickle(const std::string& bytes, const std::function<bool(const std::string&)>& allowed,
                    const std::string& where);

}  // namespace mcci
