#include "mcci/data/scene.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>

#include "mcci/core/random.hpp"

namespace mcci {
namespace {

struct Point {
  float x = 0;
  float y = 0;
};

Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
Point operator*(float s, Point a) { return {s * a.x, s * a.y}; }
float dot(Point a, Point b) { return a.x * b.x + a.y * b.y; }
float length(Point a) { return std::sqrt(dot(a, a)); }

// ------------------------------------------------------------------------------------------------- figures

// Signed distances to figures about the origin, of a radius of about 1, y upwards; negative inside. After
// Quilez, "2D distance functions", with proportions that fill about the same square.
using Distance = float (*)(Point);

float disc(Point p) { return length(p) - 0.88F; }

float ring(Point p) { return std::abs(length(p) - 0.72F) - 0.24F; }

float square(Point p) { return std::max(std::abs(p.x), std::abs(p.y)) - 0.78F; }

float triangle(Point p) {
  const float half_root_3 = 0.8660254F;
  return std::max(half_root_3 * std::abs(p.x) + 0.5F * p.y, -p.y - 0.1F) - 0.52F;
}

float bar(float along, float across) { return std::max(std::abs(along) - 1.0F, std::abs(across) - 0.33F); }

float cross(Point p) { return std::min(bar(p.x, p.y), bar(p.y, p.x)); }

// Five points: folded twice about its axes, then one edge.
float star(Point p) {
  const float outer = 1.12F, inner_share = 0.44F;
  const Point first = {0.80901699F, -0.58778525F}, second = {-0.80901699F, -0.58778525F};
  p.x = std::abs(p.x);
  p = p - 2 * std::max(dot(first, p), 0.0F) * first;
  p = p - 2 * std::max(dot(second, p), 0.0F) * second;
  p.x = std::abs(p.x);
  p.y -= outer;
  const Point edge = {inner_share * 0.58778525F, inner_share * 0.80901699F - 1};
  const float along = std::clamp(dot(p, edge) / dot(edge, edge), 0.0F, outer);
  const float distance = length(p - along * edge);
  return p.y * edge.x > p.x * edge.y ? distance : -distance;
}

float heart(Point p) {
  const float scale = 0.6F;
  const Point q = {std::abs(scale * p.x), scale * p.y + 0.55F};
  if (q.x + q.y > 1) return (length(q - Point{0.25F, 0.75F}) - 0.35355339F) / scale;
  const float foot = 0.5F * std::max(q.x + q.y, 0.0F);
  const float distance = std::min(length(q - Point{0, 1}), length(q - Point{foot, foot}));
  return (q.x > q.y ? distance : -distance) / scale;
}

float crescent(Point p) {
  return std::max(length(p - Point{0.1F, 0}) - 0.95F, 0.78F - length(p - Point{0.55F, 0}));
}

struct Figure {
  const char* name;
  Distance distance;
};
constexpr std::array<Figure, 8> figures = {{{"disc", disc},
                                            {"ring", ring},
                                            {"square", square},
                                            {"triangle", triangle},
                                            {"cross", cross},
                                            {"star", star},
                                            {"heart", heart},
                                            {"crescent", crescent}}};

// ------------------------------------------------------------------------------------------------ textures

constexpr std::array<const char*, 3> textures = {"plain", "striped", "spotted"};
enum Texture : std::size_t { plain, striped, spotted };

// How far a pixel lies on the inner side of an edge, 0 .. 1, from its distance to the edge in pixels.
float coverage(float distance) { return std::clamp(0.5F - distance, 0.0F, 1.0F); }

float fraction(float x) { return x - std::floor(x); }

struct Colour {
  float red = 0;
  float green = 0;
  float blue = 0;
};

void mix(Colour& into, const Colour& with, float share) {
  into.red += share * (with.red - into.red);
  into.green += share * (with.green - into.green);
  into.blue += share * (with.blue - into.blue);
}

// The distance of two colours, 0 .. 1.
float contrast(const Colour& a, const Colour& b) {
  return (std::abs(a.red - b.red) + std::abs(a.green - b.green) + std::abs(a.blue - b.blue)) / 3;
}

Colour random_colour(Rng& rng) {
  Colour colour;
  for (float* part : {&colour.red, &colour.green, &colour.blue}) *part = static_cast<float>(rng.uniform());
  return colour;
}

// A random colour with at least this contrast to those given, or the best of many.
Colour distinct_colour(Rng& rng, std::initializer_list<Colour> others, float least) {
  Colour best;
  float best_contrast = -1;
  for (int draw = 0; draw < 16 && best_contrast < least; ++draw) {
    const Colour colour = random_colour(rng);
    float smallest = 1;
    for (const Colour& other : others) smallest = std::min(smallest, contrast(colour, other));
    if (smallest > best_contrast) {
      best = colour;
      best_contrast = smallest;
    }
  }
  return best;
}

float uniform(Rng& rng, double low, double high) { return static_cast<float>(rng.uniform(low, high)); }

// The direction of a random angle; a draw of the circle's cosine itself would need one of the platform's.
Point random_direction(Rng& rng) {
  for (;;) {
    const Point p = {uniform(rng, -1, 1), uniform(rng, -1, 1)};
    const float size = length(p);
    if (size > 0.1F && size <= 1) return (1 / size) * p;
  }
}

// What a figure is filled with. Lengths are in pixels.
struct Paint {
  std::size_t texture = plain;
  Colour ground;
  Colour marks;
  Point direction;  // across the stripes
  float period = 1;
  Point phase;

  Colour at(Point p) const {
    Colour colour = ground;
    if (texture == plain) return colour;
    const float u = dot(direction, p) / period + phase.x;
    if (texture == striped) {
      // A triangle wave: 0 in the middle of a stripe, 1 between two.
      const float wave = std::abs(2 * fraction(u) - 1);
      mix(colour, marks, coverage((wave - 0.5F) * period / 2));
      return colour;
    }
    const float v = (direction.x * p.y - direction.y * p.x) / period + phase.y;
    const Point spot = period * Point{fraction(u) - 0.5F, fraction(v) - 0.5F};
    mix(colour, marks, coverage(length(spot) - 0.34F * period));
    return colour;
  }
};

// `unit`: pixels that a 32nd of the picture's side has.
Paint random_paint(Rng& rng, std::size_t texture, std::initializer_list<Colour> behind, float unit) {
  Paint paint;
  paint.texture = texture;
  paint.ground = distinct_colour(rng, behind, 0.3F);
  paint.marks = distinct_colour(rng, {paint.ground}, 0.4F);
  paint.direction = random_direction(rng);
  paint.period = unit * uniform(rng, 4.5, 7);
  paint.phase = {uniform(rng, 0, 1), uniform(rng, 0, 1)};
  return paint;
}

// -------------------------------------------------------------------------------------------------- canvas

class Canvas {
 public:
  explicit Canvas(std::int64_t side) : side_(side), colours_(static_cast<std::size_t>(side * side)) {}

  Colour& at(std::int64_t x, std::int64_t y) { return colours_[static_cast<std::size_t>(y * side_ + x)]; }
  float unit() const { return static_cast<float>(side_) / 32; }

  // Lays paint over every pixel that `distance` (pixel, from the centre -> pixels) has inside, at most
  // `reach` pixels from `centre`.
  template <class DistanceAt>
  void fill(Point centre, float reach, const Paint& paint, DistanceAt distance) {
    const auto low = [](float c, float r) {
      return std::max<std::int64_t>(0, static_cast<std::int64_t>(c - r));
    };
    const auto high = [&](float c, float r) {
      return std::min(side_ - 1, static_cast<std::int64_t>(std::max(-1.0F, c + r)));
    };
    for (std::int64_t y = low(centre.y, reach); y <= high(centre.y, reach); ++y) {
      for (std::int64_t x = low(centre.x, reach); x <= high(centre.x, reach); ++x) {
        const Point p = Point{static_cast<float>(x) + 0.5F, static_cast<float>(y) + 0.5F} - centre;
        const float share = coverage(distance(p));
        if (share > 0) mix(at(x, y), paint.at(p), share);
      }
    }
  }

 private:
  std::int64_t side_;
  std::vector<Colour> colours_;
};

// Two colours, mixed by a smooth random field.
void draw_background(Canvas& canvas, std::int64_t side, Rng& rng, const Colour& first, const Colour& second) {
  constexpr std::int64_t cells = 4;
  std::array<float, (cells + 1) * (cells + 1)> field{};
  for (float& value : field) value = static_cast<float>(rng.uniform());
  const float step = static_cast<float>(cells) / static_cast<float>(side);
  for (std::int64_t y = 0; y < side; ++y) {
    const float v = (static_cast<float>(y) + 0.5F) * step;
    const auto row = static_cast<std::int64_t>(v);
    const float down = v - static_cast<float>(row);
    for (std::int64_t x = 0; x < side; ++x) {
      const float u = (static_cast<float>(x) + 0.5F) * step;
      const auto column = static_cast<std::int64_t>(u);
      const float right = u - static_cast<float>(column);
      const float* const corner = &field[static_cast<std::size_t>(row * (cells + 1) + column)];
      const float above = corner[0] + right * (corner[1] - corner[0]);
      const float below = corner[cells + 1] + right * (corner[cells + 2] - corner[cells + 1]);
      Colour colour = first;
      mix(colour, second, above + down * (below - above));
      canvas.at(x, y) = colour;
    }
  }
}

// A bar with round ends somewhere.
void draw_bar(Canvas& canvas, Rng& rng, Point centre, float half_length, float half_width,
              const Paint& paint) {
  const Point along = random_direction(rng);
  canvas.fill(centre, half_length + half_width + 1, paint, [&](Point p) {
    const float t = std::clamp(dot(p, along), -half_length, half_length);
    return length(p - t * along) - half_width;
  });
}

Point random_place(Rng& rng, float unit) { return unit * Point{uniform(rng, 0, 32), uniform(rng, 0, 32)}; }

std::size_t random_texture(Rng& rng) {
  return static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(textures.size())));
}

// Turned by up to 37 degrees to either side, and mirrored or not.
void draw_figure(Canvas& canvas, Rng& rng, Distance distance, const Paint& paint) {
  const float unit = canvas.unit();
  const float radius = unit * uniform(rng, 9, 12.5);
  const float room = 16 * unit - radius;
  const Point centre = {16 * unit + room * uniform(rng, -1, 1), 16 * unit + room * uniform(rng, -1, 1)};
  // (1 - t^2, 2t) / (1 + t^2) is the direction of the angle whose half has the tangent t.
  const float t = uniform(rng, -1.0 / 3, 1.0 / 3);
  const float cosine = (1 - t * t) / (1 + t * t), sine = 2 * t / (1 + t * t);
  const float mirror = rng.chance(0.5) ? -1.0F : 1.0F;
  canvas.fill(centre, 1.3F * radius + 1, paint, [&](Point p) {
    const Point turned = {mirror * (cosine * p.x + sine * p.y), sine * p.x - cosine * p.y};
    return radius * distance((1 / radius) * turned);
  });
}

}  // namespace

const std::vector<std::string>& scene_classes() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Figure& figure : figures) {
      for (const char* const texture : textures) all.push_back(std::string(texture) + " " + figure.name);
    }
    return all;
  }();
  return names;
}

void draw_scene(std::uint64_t seed, std::int64_t label, std::int64_t side, std::uint8_t* pixels) {
  const auto texture = static_cast<std::size_t>(label) % textures.size();
  const Figure& figure = figures[static_cast<std::size_t>(label) / textures.size()];
  Rng rng(seed);
  Canvas canvas(side);
  const float unit = canvas.unit();

  const Colour first = random_colour(rng), second = random_colour(rng);
  draw_background(canvas, side, rng, first, second);
  const std::int64_t behind = 2 + rng.below(4);
  for (std::int64_t i = 0; i < behind; ++i) {
    const Paint paint = random_paint(rng, random_texture(rng), {}, unit);
    const Point place = random_place(rng, unit);
    draw_bar(canvas, rng, place, unit * uniform(rng, 1, 7), unit * uniform(rng, 0.7, 3), paint);
  }
  draw_figure(canvas, rng, figure.distance, random_paint(rng, texture, {first, second}, unit));
  if (rng.chance(0.5)) {
    const Paint paint = random_paint(rng, plain, {}, unit);
    const Point place = random_place(rng, unit);
    draw_bar(canvas, rng, place, unit * uniform(rng, 4, 12), unit * uniform(rng, 0.5, 1.1), paint);
  }

  // Light from one side, and a camera's noise: a byte of it for each value.
  const float gain = uniform(rng, 0.75, 1.05);
  const Point slope = (0.15F / static_cast<float>(side)) * random_direction(rng);
  const std::int64_t area = side * side;
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x) {
      const Colour& colour = canvas.at(x, y);
      const float light =
          gain + slope.x * static_cast<float>(2 * x - side) + slope.y * static_cast<float>(2 * y - side);
      std::uint64_t noise = rng.next();
      std::int64_t at = y * side + x;
      for (const float part : {colour.red, colour.green, colour.blue}) {
        const float value = 255 * light * part + static_cast<float>(noise & 15U) - 7;
        pixels[at] = static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F));
        noise >>= 8;
        at += area;
      }
    }
  }
}

}  // namespace mcci
