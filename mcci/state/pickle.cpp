#include "mcci/state/pickle.hpp"

#include <cstring>
#include <unordered_map>

#include "mcci/core/error.hpp"
#include "mcci/state/names.hpp"

namespace mcci {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t max_values = 4'000'000;  // 0.5 GB at most

// A stack machine: every opcode pushes, pops or changes values (Python's pickletools describes them).
class Machine {
 public:
  Machine(const std::string& bytes, const std::function<bool(const std::string&)>& allowed,
          const std::string& where)
      : bytes_(bytes), allowed_(allowed), where_(where) {}

  Pickle run() {
    if (byte() != 0x80) fail("is no pickle");
    const unsigned protocol = byte();
    if (protocol < 2 || protocol > 5) fail("is a pickle of the unknown protocol " + std::to_string(protocol));
    for (;;) {
      const std::uint8_t opcode = byte();
      if (opcode == '.') break;
      execute(opcode);
    }
    if (at_ != bytes_.size()) fail("the pickle goes on after its end");
    result_.root = pop();
    if (!stack_.empty() || !marks_.empty()) fail("the pickle leaves values behind");
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::data, what + ", at its byte " + std::to_string(at_), where_);
  }

  // --- bytes ---

  std::string take(std::uint64_t count) {
    if (count > bytes_.size() - at_) fail("the pickle is cut off");
    std::string taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  std::uint8_t byte() { return number<std::uint8_t>(); }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  double big_endian_double() {
    const std::uint64_t bits = __builtin_bswap64(number<std::uint64_t>());
    double value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  std::string line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string::npos) fail("the pickle is cut off");
    std::string text = take(end - at_);
    ++at_;
    return text;
  }

  // --- values ---

  PickleValue& make(Kind kind) {
    if (result_.values.size() == max_values) fail("the pickle has too many values");
    PickleValue& value = result_.values.emplace_back();
    value.kind = kind;
    return value;
  }

  PickleValue& push(Kind kind) {
    PickleValue& value = make(kind);
    stack_.push_back(&value);
    return value;
  }

  void push_text(Kind kind, std::string text) { push(kind).text = std::move(text); }
  void push_integer(std::int64_t value) { push(Kind::integer).integer = value; }
  void push_boolean(bool value) { push(Kind::boolean).integer = value ? 1 : 0; }

  // LONG1: little-endian two's complement of any length.
  void push_long(const std::string& digits) {
    if (digits.size() > 8) return push_text(Kind::bytes, digits);
    std::uint64_t value = !digits.empty() && (digits.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
    for (std::size_t i = digits.size(); i > 0; --i)
      value = (value << 8) | static_cast<std::uint8_t>(digits[i - 1]);
    push_integer(static_cast<std::int64_t>(value));
  }

  // Values below the last mark are out of reach until the mark is gone.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleValue* pop() {
    if (stack_.size() <= floor()) fail("the pickle takes a value that is not there");
    PickleValue* const value = stack_.back();
    stack_.pop_back();
    return value;
  }

  PickleValue& top() {
    if (stack_.size() <= floor()) fail("the pickle takes a value that is not there");
    return *stack_.back();
  }

  std::vector<const PickleValue*> pop_to_mark() {
    if (marks_.empty()) fail("the pickle goes back to a mark that is not there");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<const PickleValue*> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  void push_tuple(std::size_t count) {
    std::vector<const PickleValue*> items(count);
    for (std::size_t i = count; i > 0; --i) items[i - 1] = pop();
    push(Kind::tuple).items = std::move(items);
  }

  void push_all(Kind kind, std::vector<const PickleValue*> items) { push(kind).items = std::move(items); }

  void extend(Kind kind, const std::vector<const PickleValue*>& items) {
    PickleValue& target = top();
    const bool fits = target.kind == kind || (kind == Kind::dict && target.kind == Kind::object);
    if (!fits) fail("the pickle adds members to something that has none");
    if (kind == Kind::dict && items.size() % 2 != 0) fail("the pickle has a key without a value");
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  void push_global(const std::string& module, const std::string& name) {
    const std::string global = module + "." + name;
    if (!allowed_(global)) {
      throw Error(ErrorKind::data,
                  "asks for " + shown_name(global) + ", which is neither a tensor nor plain data", where_,
                  "in Python, if you trust the file, save the weights alone: "
                  "torch.save(model.state_dict(), FILE)");
    }
    push_text(Kind::global, global);
  }

  void push_stack_global() {
    const PickleValue* const name = pop();
    const PickleValue* const module = pop();
    if (name->kind != Kind::text || module->kind != Kind::text) fail("a name in the pickle is no text");
    push_global(module->text, name->text);
  }

  // A call of a global, or of a class, with a tuple of arguments.
  void push_object() {
    const PickleValue* const arguments = pop();
    const PickleValue* const function = pop();
    if (function->kind != Kind::global || arguments->kind != Kind::tuple)
      fail("the pickle calls what is no function");
    PickleValue& object = push(Kind::object);
    object.text = function->text;
    object.arguments = arguments;
  }

  void build() {
    const PickleValue* const state = pop();
    if (top().kind != Kind::object) fail("the pickle sets the state of something that has none");
    top().state = state;
  }

  void remember(std::uint64_t index) { memo_[index] = &top(); }

  void recall(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail("the pickle recalls what it never remembered");
    stack_.push_back(found->second);
  }

  void execute(std::uint8_t opcode) {
    switch (opcode) {
      case 0x95:  // FRAME: a length that helps those who read from a pipe
        number<std::uint64_t>();
        return;
      case 'N':
        push(Kind::none);
        return;
      case 0x88:
      case 0x89:
        return push_boolean(opcode == 0x88);
      case 'K':
        return push_integer(number<std::uint8_t>());
      case 'M':
        return push_integer(number<std::uint16_t>());
      case 'J':
        return push_integer(number<std::int32_t>());
      case 0x8a:
        return push_long(take(byte()));
      case 0x8b:
        return push_long(take(number<std::uint32_t>()));
      case 'G':
        push(Kind::real).real = big_endian_double();
        return;
      case 0x8c:
        return push_text(Kind::text, take(byte()));
      case 'X':
        return push_text(Kind::text, take(number<std::uint32_t>()));
      case 0x8d:
        return push_text(Kind::text, take(number<std::uint64_t>()));
      case 'C':
        return push_text(Kind::bytes, take(byte()));
      case 'B':
        return push_text(Kind::bytes, take(number<std::uint32_t>()));
      case 0x8e:
      case 0x96:  // a bytearray
        return push_text(Kind::bytes, take(number<std::uint64_t>()));
      case '(':
        marks_.push_back(stack_.size());
        return;
      case ')':
        return push_tuple(0);
      case 0x85:
      case 0x86:
      case 0x87:
        return push_tuple(opcode - 0x84U);
      case 't':
        return push_all(Kind::tuple, pop_to_mark());
      case ']':
        return push_all(Kind::list, {});
      case '}':
        return push_all(Kind::dict, {});
      case 0x8f:
        return push_all(Kind::set, {});
      case 0x91:  // a frozenset
        return push_all(Kind::set, pop_to_mark());
      case 'a': {
        const PickleValue* const item = pop();
        return extend(Kind::list, {item});
      }
      case 'e': {
        const auto items = pop_to_mark();
        return extend(Kind::list, items);
      }
      case 0x90: {
        const auto items = pop_to_mark();
        return extend(Kind::set, items);
      }
      case 's': {
        const PickleValue* const value = pop();
        const PickleValue* const key = pop();
        return extend(Kind::dict, {key, value});
      }
      case 'u': {
        const auto items = pop_to_mark();
        return extend(Kind::dict, items);
      }
      case 'c': {
        const std::string module = line();
        return push_global(module, line());
      }
      case 0x93:
        return push_stack_global();
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ
        return push_object();
      case 'b':
        return build();
      case 'Q': {
        const PickleValue* const id = pop();
        return push_all(Kind::persistent, {id});
      }
      case 'q':
        return remember(byte());
      case 'r':
        return remember(number<std::uint32_t>());
      case 0x94:
        return remember(memo_.size());
      case 'h':
        return recall(byte());
      case 'j':
        return recall(number<std::uint32_t>());
      case '0':
        pop();
        return;
      case '1':
        pop_to_mark();
        return;
      default:
        fail("the pickle has the opcode " + std::to_string(opcode) + ", which data does not need");
    }
  }

  const std::string& bytes_;
  const std::function<bool(const std::string&)>& allowed_;
  const std::string& where_;
  std::size_t at_ = 0;
  Pickle result_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleValue*> memo_;
};

}  // namespace

Pickle parse_pickle(const std::string& bytes, const std::function<bool(const std::string&)>& allowed,
                    const std::string& where) {
  return Machine(bytes, allowed, where).run();
}

}  // namespace mcci
