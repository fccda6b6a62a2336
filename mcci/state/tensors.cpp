#include "mcci/state/tensors.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <set>
#include <unordered_set>

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <nlohmann/json.hpp>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/state/names.hpp"
#include "mcci/state/sized_file.hpp"

namespace mcci {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the data is little-endian and copied as it is");

constexpr std::uint64_t length_bytes = 8;
constexpr std::uint64_t max_header_bytes = 100'000'000;  // the limit of the Python package
constexpr std::size_t max_dimensions = 64;               // LibTorch's
constexpr char metadata_key[] = "__metadata__";

struct DType {
  const char* name;
  at::ScalarType type;
};
constexpr DType dtypes[] = {{"F64", at::kDouble},    {"F32", at::kFloat}, {"F16", at::kHalf},
                            {"BF16", at::kBFloat16}, {"I64", at::kLong},  {"I32", at::kInt},
                            {"I16", at::kShort},     {"I8", at::kChar},   {"U8", at::kByte},
                            {"BOOL", at::kBool}};

// What the header says of one tensor; its bytes are [begin, end) of the data.
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::vector<std::uint64_t> offsets;
};

// Reads exactly the JSON the format has, {"name": {"dtype": text, "shape": [n...], "data_offsets": [begin,
// end]}} plus {"__metadata__": {text: text}}, and throws at the first event that does not belong there. So
// nesting is bounded, a repeated key is seen, and no document is built from a hostile header.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string where) : where_(std::move(where)) {}

  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (depth_ == in_nothing) {
      depth_ = in_header;
    } else if (depth_ == in_header) {
      depth_ = in_value;
      fields_.clear();
      if (name_ != metadata_key) entries.push_back({name_, "", {}, {}});
    } else {
      refuse("an object");
    }
    return true;
  }

  bool end_object() override {
    if (depth_ == in_value && name_ != metadata_key && fields_.size() != 3) {
      fail("the header's entry " + shown_name(name_) + " lacks dtype, shape or data_offsets");
    }
    depth_ = depth_ == in_value ? in_header : in_nothing;
    return true;
  }

  bool key(std::string& key) override {
    const bool is_new = depth_ == in_header ? names_.insert(key).second : fields_.insert(key).second;
    if (!is_new) fail("the header has the key " + shown_name(key) + " twice");
    (depth_ == in_header ? name_ : field_) = key;
    return true;
  }

  bool string(std::string& text) override {
    if (depth_ == in_value && name_ == metadata_key) {
      metadata[field_] = text;
    } else if (depth_ == in_value && field_ == "dtype") {
      entries.back().dtype = text;
    } else {
      refuse("a string");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    const bool belongs =
        depth_ == in_value && name_ != metadata_key && (field_ == "shape" || field_ == "data_offsets");
    if (!belongs) refuse("an array");
    depth_ = in_array;
    return true;
  }

  bool end_array() override {
    if (field_ == "data_offsets" && entries.back().offsets.size() != 2) {
      fail("data_offsets of " + shown_name(name_) + " must be two numbers");
    }
    depth_ = in_value;
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (depth_ != in_array) refuse("a number");
    std::vector<std::uint64_t>& numbers = field_ == "shape" ? entries.back().shape : entries.back().offsets;
    if (numbers.size() == max_dimensions) fail(shown_name(name_) + " has too many dimensions");
    numbers.push_back(value);
    return true;
  }

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(std::int64_t) override { return refuse("a negative number"); }
  bool number_float(double, const std::string&) override {
    return refuse("a fraction or a number beyond 64 bits");
  }
  bool binary(nlohmann::json::binary_t&) override { return refuse("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail("the header is not valid JSON at its byte " + std::to_string(position));
  }

 private:
  enum Depth { in_nothing, in_header, in_value, in_array };

  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorKind::data, what, where_); }

  [[noreturn]] bool refuse(const std::string& what) const {
    fail("the header has " + what + " where the format has none" +
         (name_.empty() ? "" : ", at " + shown_name(name_)));
  }

  std::string where_;
  Depth depth_ = in_nothing;
  std::string name_;   // the key of the header that is being read
  std::string field_;  // the key within its value
  std::unordered_set<std::string> names_;
  std::set<std::string> fields_;
};

at::ScalarType scalar_type(const TensorEntry& entry, const std::string& where) {
  for (const DType& dtype : dtypes) {
    if (entry.dtype == dtype.name) return dtype.type;
  }
  throw Error(ErrorKind::data, shown_name(entry.name) + " has the unknown dtype " + shown_name(entry.dtype),
              where);
}

const char* dtype_name(const std::string& name, const at::Tensor& tensor, const std::string& where) {
  for (const DType& dtype : dtypes) {
    if (tensor.scalar_type() == dtype.type) return dtype.name;
  }
  throw Error(ErrorKind::usage,
              shown_name(name) + " has the dtype " + c10::toString(tensor.scalar_type()) +
                  ", which safetensors lacks",
              where, "convert it to float32 first");
}

// Throws unless the tensor's bytes, and the strides LibTorch will compute, can be counted and equal its
// offsets.
void check_size(const TensorEntry& entry, const std::string& where) {
  constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
  std::uint64_t bytes = c10::elementSize(scalar_type(entry, where));
  bool empty = false;
  for (const std::uint64_t extent : entry.shape) {
    if (extent == 0) {
      empty = true;
    } else if (bytes > largest / extent) {
      throw Error(ErrorKind::data, "the shape of " + shown_name(entry.name) + " is too large to be true",
                  where);
    } else {
      bytes *= extent;
    }
  }
  if (empty) bytes = 0;
  const std::uint64_t begin = entry.offsets[0];
  const std::uint64_t end = entry.offsets[1];
  if (begin > end || end - begin != bytes) {
    throw Error(ErrorKind::data,
                shown_name(entry.name) + " needs " + std::to_string(bytes) +
                    " bytes, but its data_offsets are [" + std::to_string(begin) + ", " +
                    std::to_string(end) + "]",
                where);
  }
}

// Throws unless the tensors fill the data from its first to its last byte, one after the other.
void check_layout(const std::vector<TensorEntry>& entries, std::uint64_t data_bytes,
                  const std::string& where) {
  std::vector<const TensorEntry*> by_offset;
  for (const TensorEntry& entry : entries) {
    check_size(entry, where);
    by_offset.push_back(&entry);
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const TensorEntry* a, const TensorEntry* b) { return a->offsets < b->offsets; });
  std::uint64_t filled = 0;
  for (const TensorEntry* entry : by_offset) {
    if (entry->offsets[0] < filled) {
      throw Error(ErrorKind::data, shown_name(entry->name) + " overlaps another tensor", where);
    }
    if (entry->offsets[0] > filled) {
      throw Error(ErrorKind::data, "there is a hole in the data before " + shown_name(entry->name), where);
    }
    filled = entry->offsets[1];
  }
  if (filled != data_bytes) {
    throw Error(ErrorKind::data,
                "the header speaks of " + std::to_string(filled) + " bytes of data, but there are " +
                    std::to_string(data_bytes),
                where, "the file may have been cut off: copy or make it again");
  }
}

std::string read_header(SizedFile& file) {
  if (file.size() < length_bytes)
    throw Error(ErrorKind::data, "is too short for a safetensors file", file.where());
  std::uint64_t length = 0;
  file.read(0, &length, length_bytes);
  if (length > file.size() - length_bytes || length > max_header_bytes) {
    throw Error(ErrorKind::data, "the header's length, " + std::to_string(length) + " bytes, cannot be true",
                file.where(), "this is no safetensors file, or it has been cut off");
  }
  std::string header = file.read(length_bytes, length);
  if (header.empty() || header.front() != '{') {
    throw Error(ErrorKind::data, "the header does not begin with '{'", file.where(),
                "this is no safetensors file");
  }
  return header;
}

at::Tensor described_tensor(const TensorEntry& entry, const std::string& where) {
  const std::vector<std::int64_t> shape(entry.shape.begin(), entry.shape.end());
  return at::empty(shape, at::dtype(scalar_type(entry, where)).device(at::kMeta));
}

at::Tensor read_tensor(SizedFile& file, const TensorEntry& entry, std::uint64_t data_begin) {
  const at::ScalarType type = scalar_type(entry, file.where());
  const std::vector<std::int64_t> shape(entry.shape.begin(), entry.shape.end());
  const std::uint64_t bytes = entry.offsets[1] - entry.offsets[0];
  at::Tensor tensor;
  try {
    tensor = at::empty(shape, type);
  } catch (const std::exception&) {
    throw Error(ErrorKind::io,
                "there is no memory for " + shown_name(entry.name) + ", " + std::to_string(bytes) + " bytes",
                file.where());
  }
  file.read(data_begin + entry.offsets[0], tensor.data_ptr(), bytes);
  if (type == at::kBool) {
    const auto* values = static_cast<const std::uint8_t*>(tensor.data_ptr());
    if (std::any_of(values, values + bytes, [](std::uint8_t value) { return value > 1; })) {
      throw Error(ErrorKind::data, shown_name(entry.name) + " is BOOL but has a byte that is neither 0 nor 1",
                  file.where());
    }
  }
  return tensor;
}

void check_reserved_names(const TensorList& tensors, const std::string& where) {
  for (const auto& [name, tensor] : tensors) {
    if (name == metadata_key)
      throw Error(ErrorKind::usage, "the name " + shown_name(name) + " is reserved", where);
  }
}

// The header, padded so that the data begins at a multiple of 8 bytes. `order`: positions in the data.
std::string make_header(const TensorList& tensors, const std::vector<std::size_t>& order,
                        const std::map<std::string, std::string>& metadata, const std::string& where) {
  std::vector<std::uint64_t> begins(tensors.size());
  std::uint64_t end = 0;
  for (const std::size_t i : order) {
    begins[i] = end;
    end += tensors[i].second.nbytes();
  }
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[metadata_key] = metadata;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    header[name] = {{"dtype", dtype_name(name, tensor, where)},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {begins[i], begins[i] + tensor.nbytes()}}};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorKind::usage, "the metadata is not UTF-8", where);
  }
  text.append((length_bytes - text.size() % length_bytes) % length_bytes, ' ');
  if (text.size() > max_header_bytes)
    throw Error(ErrorKind::usage, "there are too many tensors for one file", where);
  return text;
}

}  // namespace

void save_safetensors(const std::filesystem::path& path, const TensorList& tensors,
                      const std::map<std::string, std::string>& metadata) {
  check_names(tensors, path.string());
  check_reserved_names(tensors, path.string());
  // The format allows no padding between tensors; with the widest elements first, each is aligned all the
  // same.
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return tensors[a].second.element_size() > tensors[b].second.element_size();
  });
  const std::string header = make_header(tensors, order, metadata, path.string());
  write_file_atomically(path, [&](std::ostream& out) {
    const std::uint64_t length = header.size();
    out.write(reinterpret_cast<const char*>(&length), length_bytes);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const std::size_t i : order) {
      const at::Tensor tensor = tensors[i].second.detach().cpu().contiguous();
      out.write(static_cast<const char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
    }
  });
}

TensorFile load_safetensors(const std::filesystem::path& path, Content content) {
  SizedFile file(path);
  const std::string header = read_header(file);
  HeaderReader reader(file.where());
  nlohmann::json::sax_parse(header, &reader);
  const std::uint64_t data_begin = length_bytes + header.size();
  check_layout(reader.entries, file.size() - data_begin, file.where());

  TensorFile result;
  result.metadata = std::move(reader.metadata);
  for (const TensorEntry& entry : reader.entries) {
    result.tensors.emplace_back(entry.name, content == Content::shapes
                                                ? described_tensor(entry, file.where())
                                                : read_tensor(file, entry, data_begin));
  }
  return result;
}

}  // namespace mcci
