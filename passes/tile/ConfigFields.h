//===- ConfigFields.h - a config and its attribute -------------------------===//
//
// A config of a family is a struct of integers; on a program it is a dictionary of the
// same, whose names stand in one table.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_CONFIGFIELDS_H
#define INLAY_PASSES_TILE_CONFIGFIELDS_H

#include "mlir/IR/Builders.h"

namespace inlay {
template <typename Config> struct ConfigField {
  const char *name;
  int64_t Config::*member;
};

template <typename Config, size_t n>
mlir::DictionaryAttr writeFields(const Config &config, const ConfigField<Config> (&fields)[n],
                                 mlir::MLIRContext *context) {
  mlir::Builder builder(context);
  mlir::NamedAttrList list;
  for (const ConfigField<Config> &field : fields)
    list.set(field.name, builder.getI64IntegerAttr(config.*field.member));
  return list.getDictionary(context);
}

/// What the attribute does not name keeps its default.
template <typename Config, size_t n>
Config readFields(mlir::DictionaryAttr attribute, const ConfigField<Config> (&fields)[n]) {
  Config config;
  for (const ConfigField<Config> &field : fields)
    if (auto value = attribute.getAs<mlir::IntegerAttr>(field.name))
      config.*field.member = value.getInt();
  return config;
}
} // namespace inlay

#endif // INLAY_PASSES_TILE_CONFIGFIELDS_H
