#include "mcci/state/pth.hpp"

#include <algorithm>
#include <caffe2/serialize/inline_container.h>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <nlohmann/json.hpp>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/state/names.hpp"
#include "mcci/state/pickle.hpp"
#include "mcci/state/zip_archive.hpp"

namespace mcci {
namespace {

using Kind = PickleValue::Kind;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the data is little-endian and copied as it is");

constexpr std::uint64_t max_pickle_bytes = std::uint64_t{64} << 20;  // of torchvision's largest: 0.2 MB
constexpr std::size_t max_dimensions = 64;                           // LibTorch's
constexpr std::size_t max_plain_values = 1000;
constexpr std::size_t max_plain_bytes = 1000;

struct Storage {
  const char* name;
  at::ScalarType type;
};
constexpr Storage storages[] = {
    {"torch.DoubleStorage", at::kDouble}, {"torch.FloatStorage", at::kFloat},
    {"torch.HalfStorage", at::kHalf},     {"torch.BFloat16Storage", at::kBFloat16},
    {"torch.LongStorage", at::kLong},     {"torch.IntStorage", at::kInt},
    {"torch.ShortStorage", at::kShort},   {"torch.CharStorage", at::kChar},
    {"torch.ByteStorage", at::kByte},     {"torch.BoolStorage", at::kBool},
};

// The names that checkpoints of plain data mention.
bool allowed_global(const std::string& name) {
  static const std::set<std::string> names = [] {
    std::set<std::string> all = {"collections.OrderedDict",
                                 "collections.defaultdict",
                                 "collections.Counter",
                                 "torch._utils._rebuild_tensor_v2",
                                 "torch._utils._rebuild_parameter",
                                 "torch._tensor._rebuild_from_type_v2",
                                 "torch.nn.parameter.Parameter",
                                 "torch.Tensor",
                                 "torch.Size",
                                 "torch.device",
                                 "argparse.Namespace",
                                 "types.SimpleNamespace",
                                 "pathlib.PosixPath",
                                 "pathlib.WindowsPath",
                                 "_codecs.encode",
                                 "numpy.dtype",
                                 "numpy.ndarray"};
    for (const Storage& storage : storages) all.insert(storage.name);
    for (const char* type : {"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8",
                             "uint8", "bool", "complex64", "complex128"}) {
      all.insert(std::string("torch.") + type);
    }
    for (const std::string module : {"__builtin__.", "builtins."}) {
      for (const char* type : {"set", "frozenset", "list", "dict", "tuple", "int", "float", "bool", "str",
                               "bytes", "bytearray", "complex", "slice", "object"}) {
        all.insert(module + type);
      }
    }
    for (const std::string module : {"numpy.core.multiarray.", "numpy._core.multiarray."}) {
      all.insert(module + "scalar");
      all.insert(module + "_reconstruct");
    }
    return all;
  }();
  return names.count(name) > 0;
}

bool is_call(const PickleValue& value, const char* function, std::size_t arguments) {
  return value.kind == Kind::object && value.text == function && value.arguments->items.size() >= arguments;
}

bool is_dict(const PickleValue& value) {
  static const std::set<std::string> dicts = {"collections.OrderedDict", "collections.defaultdict",
                                              "collections.Counter"};
  return value.kind == Kind::dict || (value.kind == Kind::object && dicts.count(value.text) > 0);
}

const char* kind_name(const PickleValue& value) {
  if (is_dict(value)) return "a dict";
  switch (value.kind) {
    case Kind::tuple:
      return "a tuple";
    case Kind::list:
      return "a list";
    case Kind::object:
      return value.text == "torch._utils._rebuild_tensor_v2" ? "a single tensor" : "an object";
    default:
      return "a single value";
  }
}

// The call of _rebuild_tensor_v2 behind a parameter or a subclass of Tensor; null if this is no tensor.
const PickleValue* tensor_arguments(const PickleValue& value) {
  const PickleValue* tensor = &value;
  for (int wrappers = 0; wrappers < 4; ++wrappers) {
    if (is_call(*tensor, "torch._utils._rebuild_tensor_v2", 6)) return tensor->arguments;
    if (is_call(*tensor, "torch._tensor._rebuild_from_type_v2", 3)) {
      const auto& items = tensor->arguments->items;  // function, type, its arguments
      const bool rebuilds = items[0]->kind == Kind::global && items[2]->kind == Kind::tuple;
      if (!rebuilds) return nullptr;
      if (items[0]->text == "torch._utils._rebuild_tensor_v2")
        return items[2]->items.size() >= 6 ? items[2] : nullptr;
      if (items[0]->text != "torch._utils._rebuild_parameter" || items[2]->items.empty()) return nullptr;
      tensor = items[2]->items[0];
    } else if (is_call(*tensor, "torch._utils._rebuild_parameter", 1)) {
      tensor = tensor->arguments->items[0];
    } else {
      return nullptr;
    }
  }
  return nullptr;
}

bool holds_tensors(const PickleValue& value) {
  if (!is_dict(value)) return false;
  for (std::size_t i = 0; i + 1 < value.items.size(); i += 2) {
    if (value.items[i]->kind == Kind::text && tensor_arguments(*value.items[i + 1]) != nullptr) return true;
  }
  return false;
}

// --- plain values as metadata ---

constexpr std::size_t longest_number = 16;

// Bytes of a number as protocol 2 writes them: a text of the code points 0 .. 255 to be encoded as latin1.
std::optional<std::string> number_bytes(const PickleValue& value) {
  if (value.kind == Kind::bytes && value.text.size() <= longest_number) return value.text;
  if (!is_call(value, "_codecs.encode", 2) || value.arguments->items[0]->kind != Kind::text) return {};
  const std::string& text = value.arguments->items[0]->text;
  if (text.size() > longest_number) return {};
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      bytes += text[i];
    } else if ((c == 0xc2 || c == 0xc3) && i + 1 < text.size()) {
      bytes += static_cast<char>((c << 6 & 0xc0) | (text[++i] & 0x3f));
    } else {
      return {};
    }
  }
  return bytes;
}

template <class T>
std::optional<nlohmann::json> from_bytes(const std::string& bytes) {
  if (bytes.size() != sizeof(T)) return {};
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return nlohmann::json(value);
}

// numpy.float64(0.93): a call of `scalar` with a dtype, itself a call with its code ("f8"), and bytes.
std::optional<nlohmann::json> numpy_scalar(const PickleValue& value) {
  const bool is_scalar =
      is_call(value, "numpy.core.multiarray.scalar", 2) || is_call(value, "numpy._core.multiarray.scalar", 2);
  if (!is_scalar) return {};
  const PickleValue& dtype = *value.arguments->items[0];
  if (!is_call(dtype, "numpy.dtype", 1)) return {};
  const std::string& code = dtype.arguments->items[0]->text;
  const auto bytes = number_bytes(*value.arguments->items[1]);
  if (!bytes) return {};
  if (code == "f8") return from_bytes<double>(*bytes);
  if (code == "f4") return from_bytes<float>(*bytes);
  if (code == "i8") return from_bytes<std::int64_t>(*bytes);
  if (code == "i4") return from_bytes<std::int32_t>(*bytes);
  if (code == "b1") return from_bytes<bool>(*bytes);
  return {};
}

// A number or a text as it is shown; nothing for whatever has members.
std::optional<std::string> plain_text(const PickleValue& value) {
  switch (value.kind) {
    case Kind::none:
      return "none";
    case Kind::boolean:
      return value.integer != 0 ? "true" : "false";
    case Kind::integer:
      return std::to_string(value.integer);
    case Kind::real:
      return nlohmann::json(value.real).dump();
    case Kind::text:
    case Kind::global:
      return value.text.substr(0, max_plain_bytes);
    default:
      break;
  }
  if (const auto number = numpy_scalar(value)) return number->dump();
  return {};
}

// The dict of what an argparse.Namespace holds; null if this is none.
const PickleValue* namespace_of(const PickleValue& value) {
  const bool is_namespace = value.kind == Kind::object &&
                            (value.text == "argparse.Namespace" || value.text == "types.SimpleNamespace");
  return is_namespace && value.state != nullptr && is_dict(*value.state) ? value.state : nullptr;
}

// --- the file ---

class PthReader {
 public:
  PthReader(const std::filesystem::path& path, Content content) : zip_(path), content_(content) {
    folder_ = folder();
    refuse_programs_and_foreign_bytes();
  }

  TensorFile read() {
    const ZipArchive::Member& member = *zip_.find(folder_ + "data.pkl");
    if (member.size > max_pickle_bytes) fail("its pickle is too large to be true");
    const std::string bytes = zip_.read(member);
    const Pickle pickle = parse_pickle(bytes, allowed_global, zip_.where());
    if (!is_dict(*pickle.root)) {
      throw Error(ErrorKind::data,
                  std::string("holds ") + kind_name(*pickle.root) + " where named tensors are needed",
                  zip_.where(), "in Python: torch.save(model.state_dict(), FILE)");
    }
    TensorFile result;
    const PickleValue* const state =
        holds_tensors(*pickle.root) ? pickle.root : member_with_state(*pickle.root);
    for (std::size_t i = 0; state != pickle.root && i + 1 < pickle.root->items.size(); i += 2) {
      const PickleValue* const beside = pickle.root->items[i + 1];
      if (beside != state) add_beside(*pickle.root->items[i], *beside, "", result);
    }
    add_tensors(*state, result);
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& hint = "") const {
    throw Error(ErrorKind::data, what, zip_.where(), hint);
  }

  // "archive/", of which all members' names begin.
  std::string folder() const {
    const std::string ending = "/data.pkl";
    std::string found;
    for (const ZipArchive::Member& member : zip_.members()) {
      const std::string& name = member.name;
      if (name.size() <= ending.size() || name.find('/') != name.size() - ending.size() ||
          name.compare(name.size() - ending.size(), ending.size(), ending) != 0) {
        continue;
      }
      if (!found.empty()) fail("is a zip archive with two pickles");
      found = name.substr(0, name.size() - ending.size() + 1);
    }
    if (found.empty()) fail("is a zip archive, but not one that torch.save wrote");
    return found;
  }

  void refuse_programs_and_foreign_bytes() {
    for (const ZipArchive::Member& member : zip_.members()) {
      if (member.name == folder_ + "constants.pkl" || member.name.rfind(folder_ + "code/", 0) == 0) {
        fail("is a TorchScript program, not weights alone",
             "in Python, if you trust the file: torch.save(torch.jit.load(FILE).state_dict(), NEW)");
      }
    }
    if (const ZipArchive::Member* order = zip_.find(folder_ + "byteorder")) {
      if (order->size > 16 || zip_.read(*order) != "little")
        fail("was written by a big-endian machine", "save it again on another machine");
    }
  }

  const PickleValue* member_with_state(const PickleValue& root) const {
    std::vector<std::pair<std::string, const PickleValue*>> found;
    for (std::size_t i = 0; i + 1 < root.items.size(); i += 2) {
      if (root.items[i]->kind == Kind::text && holds_tensors(*root.items[i + 1]))
        found.emplace_back(root.items[i]->text, root.items[i + 1]);
    }
    for (const char* name : {"state_dict", "model_state_dict", "model", "module", "net", "teacher"}) {
      for (const auto& [key, value] : found) {
        if (key == name) return value;
      }
    }
    if (found.size() == 1) return found.front().second;
    if (found.empty()) fail("holds no named tensors");
    std::string names;
    for (std::size_t i = 0; i < found.size() && i < 8; ++i)
      names += (i == 0 ? "" : ", ") + shown_name(found[i].first);
    fail("holds several dicts of tensors: " + names,
         "in Python, if you trust the file: torch.save(torch.load(FILE)['NAME'], NEW)");
  }

  // A plain value as metadata; the name of anything else among what is left out. Both are cut: with a memo, a
  // few bytes of pickle repeat a long text often.
  static void add_beside(const PickleValue& key, const PickleValue& value, const std::string& prefix,
                         TensorFile& result) {
    if (result.metadata.size() + result.left_out.size() >= max_plain_values) return;
    const std::string name = prefix + plain_text(key).value_or("(unnamed)");
    if (const auto text = plain_text(value)) {
      result.metadata[name] = *text;
    } else if (const PickleValue* inner = namespace_of(value); inner != nullptr && prefix.empty()) {
      for (std::size_t i = 0; i + 1 < inner->items.size(); i += 2)
        add_beside(*inner->items[i], *inner->items[i + 1], name + ".", result);
    } else {
      result.left_out.push_back(name);
    }
  }

  void add_tensors(const PickleValue& state, TensorFile& result) {
    std::unordered_set<std::string> names;
    for (std::size_t i = 0; i + 1 < state.items.size(); i += 2) {
      const PickleValue& key = *state.items[i];
      const PickleValue* const arguments = tensor_arguments(*state.items[i + 1]);
      if (arguments == nullptr) {
        add_beside(key, *state.items[i + 1], "", result);
        continue;
      }
      if (key.kind != Kind::text) fail("has a tensor whose name is no text");
      if (!names.insert(key.text).second) fail("has two tensors " + shown_name(key.text));
      result.tensors.emplace_back(key.text, tensor(key.text, *arguments));
    }
  }

  std::vector<std::int64_t> sizes(const std::string& name, const PickleValue& value) const {
    std::vector<std::int64_t> numbers;
    const bool is_size = is_call(value, "torch.Size", 1) && value.arguments->items[0]->kind == Kind::tuple;
    const PickleValue& tuple = is_size ? *value.arguments->items[0] : value;
    if (tuple.kind != Kind::tuple || tuple.items.size() > max_dimensions)
      fail(shown_name(name) + " has no shape or too many dimensions");
    for (const PickleValue* item : tuple.items) {
      if (item->kind != Kind::integer || item->integer < 0)
        fail(shown_name(name) + " has a size that is no number, or negative");
      numbers.push_back(item->integer);
    }
    return numbers;
  }

  // Throws unless every element lies in the storage, and there are no more of them than the storage has (a
  // stride of 0 would make much out of little).
  void check_extent(const std::string& name, std::int64_t offset, const std::vector<std::int64_t>& size,
                    const std::vector<std::int64_t>& stride, std::int64_t elements) const {
    if (size.size() != stride.size()) fail(shown_name(name) + " has fewer strides than sizes, or more");
    std::int64_t last = offset;
    std::int64_t count = 1;
    bool empty = false;
    for (std::size_t i = 0; i < size.size(); ++i) {
      std::int64_t span = 0;
      empty = empty || size[i] == 0;
      const bool countable =
          !__builtin_mul_overflow(std::max<std::int64_t>(size[i] - 1, 0), stride[i], &span) &&
          !__builtin_add_overflow(last, span, &last) &&
          !__builtin_mul_overflow(count, std::max<std::int64_t>(size[i], 1), &count);
      if (!countable) fail("the shape of " + shown_name(name) + " is too large to be true");
    }
    if (offset < 0 || offset > elements || (!empty && last >= elements))
      fail(shown_name(name) + " reaches beyond its storage");
    if (!empty && count > elements)
      fail(shown_name(name) + " is expanded: it has more elements than its storage",
           "save its .contiguous() instead");
  }

  // arguments: storage, offset, size, stride, requires_grad, hooks, and since PyTorch 1.13 what else is set.
  at::Tensor tensor(const std::string& name, const PickleValue& arguments) {
    const auto& items = arguments.items;
    const bool fits = items[0]->kind == Kind::persistent && items[1]->kind == Kind::integer;
    if (!fits) fail(shown_name(name) + " has no storage");
    if (items.size() > 6 && (!is_dict(*items[6]) || !items[6]->items.empty()))
      fail(shown_name(name) + " is conjugated or negated", "save its .resolve_neg().resolve_conj() instead");
    const std::vector<std::int64_t> size = sizes(name, *items[2]);
    const std::vector<std::int64_t> stride = sizes(name, *items[3]);
    const StoredAs stored = stored_as(name, *items[0]->items[0]);
    check_extent(name, items[1]->integer, size, stride, stored.elements);
    if (content_ == Content::shapes) return at::empty(size, at::dtype(stored.type).device(at::kMeta));
    return at::as_strided(storage(name, stored), size, stride, items[1]->integer);
  }

  struct StoredAs {
    const ZipArchive::Member* member = nullptr;
    at::ScalarType type = at::kFloat;
    std::int64_t elements = 0;
  };

  // id: ('storage', type, member, device, elements).
  StoredAs stored_as(const std::string& name, const PickleValue& id) const {
    const auto& items = id.items;
    const bool fits = id.kind == Kind::tuple && items.size() == 5 && items[0]->text == "storage" &&
                      items[1]->kind == Kind::global && items[2]->kind == Kind::text &&
                      items[4]->kind == Kind::integer;
    if (!fits) fail(shown_name(name) + " has a storage of an unknown form");
    StoredAs stored;
    const auto* found = std::find_if(std::begin(storages), std::end(storages),
                                     [&](const Storage& storage) { return items[1]->text == storage.name; });
    if (found == std::end(storages))
      fail(shown_name(name) + " is of the dtype of " + shown_name(items[1]->text) +
           ", which is not read here");
    stored.type = found->type;
    stored.elements = items[4]->integer;
    stored.member = zip_.find(folder_ + "data/" + items[2]->text);
    if (stored.member == nullptr) fail("the data of " + shown_name(name) + " is missing");
    const std::uint64_t element = c10::elementSize(stored.type);
    if (stored.elements < 0 || stored.member->size % element != 0 ||
        static_cast<std::uint64_t>(stored.elements) != stored.member->size / element) {
      fail(shown_name(name) + " says that its storage has " + std::to_string(stored.elements) +
           " elements, but that has " + std::to_string(stored.member->size) + " bytes");
    }
    return stored;
  }

  // Each storage is read once, however many tensors share it.
  at::Tensor storage(const std::string& name, const StoredAs& stored) {
    at::Tensor& tensor = storages_[stored.member];
    if (tensor.defined()) {
      if (tensor.scalar_type() != stored.type)
        fail(shown_name(name) + " shares its storage with another dtype");
      return tensor;
    }
    at::Tensor made;
    try {
      made = at::empty({stored.elements}, stored.type);
    } catch (const std::exception&) {
      throw Error(ErrorKind::io, "there is no memory for " + shown_name(name), zip_.where());
    }
    zip_.read(*stored.member, made.data_ptr());
    if (stored.type == at::kBool) {
      const auto* values = static_cast<const std::uint8_t*>(made.data_ptr());
      if (std::any_of(values, values + stored.elements, [](std::uint8_t value) { return value > 1; }))
        fail(shown_name(name) + " is of booleans but has a byte that is neither 0 nor 1");
    }
    return tensor = made;
  }

  ZipArchive zip_;
  Content content_;
  std::string folder_;
  std::unordered_map<const ZipArchive::Member*, at::Tensor> storages_;
};

// --- writing ---

// A pickle of protocol 2, of what a state_dict needs.
class PickleWriter {
 public:
  void raw(const char* opcodes) { bytes_ += opcodes; }

  void global(const std::string& dotted) {
    const std::size_t dot = dotted.rfind('.');
    bytes_ += "c" + dotted.substr(0, dot) + "\n" + dotted.substr(dot + 1) + "\n";
  }

  void text(const std::string& text) {
    bytes_ += 'X';
    little_endian(static_cast<std::uint32_t>(text.size()));
    bytes_ += text;
  }

  void integer(std::int64_t value) {
    bytes_ += "\x8a\x08";
    little_endian(value);
  }

  void tuple(at::IntArrayRef values) {
    bytes_ += '(';
    for (const std::int64_t value : values) integer(value);
    bytes_ += 't';
  }

  const std::string& bytes() const { return bytes_; }

 private:
  template <class T>
  void little_endian(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  std::string bytes_ = "\x80\x02";
};

const char* storage_name(const std::string& name, const at::Tensor& tensor, const std::string& where) {
  for (const Storage& storage : storages) {
    if (tensor.scalar_type() == storage.type) return storage.name;
  }
  throw Error(ErrorKind::usage,
              shown_name(name) + " has the dtype " + c10::toString(tensor.scalar_type()) +
                  ", which is not written here",
              where, "convert it to float32 first");
}

// OrderedDict([(name, _rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())), ...])
std::string state_dict_pickle(const TensorList& tensors, const std::string& where) {
  PickleWriter pickle;
  pickle.global("collections.OrderedDict");
  pickle.raw(")R(");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    pickle.text(name);
    pickle.global("torch._utils._rebuild_tensor_v2");
    pickle.raw("((");
    pickle.text("storage");
    pickle.global(storage_name(name, tensor, where));
    pickle.text(std::to_string(i));
    pickle.text("cpu");
    pickle.integer(tensor.numel());
    pickle.raw("tQ");
    pickle.integer(0);
    pickle.tuple(tensor.sizes());
    pickle.tuple(tensor.strides());
    pickle.raw("\x89");
    pickle.global("collections.OrderedDict");
    pickle.raw(")RtR");
  }
  pickle.raw("u.");
  return pickle.bytes();
}

}  // namespace

TensorFile load_pth(const std::filesystem::path& path, Content content) {
  return PthReader(path, content).read();
}

void save_pth(const std::filesystem::path& path, const TensorList& tensors) {
  check_names(tensors, path.string());
  TensorList whole;
  for (const auto& [name, tensor] : tensors) whole.emplace_back(name, tensor.detach().cpu().contiguous());
  const std::string pickle = state_dict_pickle(whole, path.string());
  write_file_atomically(path, [&](std::ostream& out) {
    caffe2::serialize::PyTorchStreamWriter writer([&](const void* bytes, std::size_t count) {
      out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
      return count;  // whether it worked is asked of the stream, which keeps the reason
    });
    writer.writeRecord("data.pkl", pickle.data(), pickle.size());
    for (std::size_t i = 0; i < whole.size(); ++i)
      writer.writeRecord("data/" + std::to_string(i), whole[i].second.data_ptr(), whole[i].second.nbytes());
    writer.writeEndOfFile();
  });
}

}  // namespace mcci
